"""The settings of a site: what is served, and how its files are."""

from dataclasses import dataclass, fields

from aiowsgi.config import values
from aiowsgi.config.declaring import setting
from aiowsgi.config.parts import Files

_SITE, _FILES = "Site", "Files"
_FILE = Files()


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    app: str | None = setting(
        _SITE, values.APPLICATION, None, "The application; a factory is called in each worker."
    )
    html: str | None = setting(
        _SITE, values.FOLDER, None, "Serve the files of this folder at /.", "html, if there is no APP"
    )
    apps: str | None = setting(
        _SITE, values.FOLDER, None, "Run the .py scripts of this folder at /.", "apps, if there is no APP"
    )
    static: tuple[tuple[str, str], ...] = setting(
        _SITE, values.FOLDERS, (), "Serve the files of a folder below PREFIX."
    )
    scripts: tuple[tuple[str, str], ...] = setting(
        _SITE, values.FOLDERS, (), "Run the .py scripts of a folder below PREFIX."
    )
    mount: tuple[tuple[str, str], ...] = setting(
        _SITE, values.APPLICATIONS, (), "Serve another application below PREFIX."
    )
    x_sendfile: tuple[tuple[str, str], ...] = setting(
        _SITE,
        values.FOLDERS,
        (),
        "Send the files of a folder that an application names: below PREFIX in X-Accel-Redirect, or in X-Sendfile.",
    )
    compress: bool = setting(
        _SITE,
        values.FLAG,
        False,
        "Compress texts of applications, by gzip and what of brotli and zstd is installed.",
    )

    charset: str = setting(
        _FILES,
        values.CHARSET,
        _FILE.charset,
        "What text files are declared to be in; empty leaves it to them.",
    )
    nosniff: bool = setting(
        _FILES, values.FLAG, _FILE.nosniff, "Have browsers keep to the declared media type."
    )
    media_types: tuple[tuple[str, str], ...] = setting(
        _FILES, values.MEDIA_TYPES, _FILE.media_types, "The media type of files with this extension."
    )
    cache_control: str = setting(
        _FILES,
        values.FIELD_VALUE,
        _FILE.cache_control,
        "Cache-Control of files whose names have no hash of the content: without any, browsers guess, and show"
        " yesterday's page. Empty sends none.",
    )
    headers: tuple[tuple[str, str, str], ...] = setting(
        _FILES,
        values.HEADERS,
        _FILE.headers,
        "A header field of the files that a pattern matches; an empty value leaves it out.",
    )
    spa: bool = setting(
        _FILES,
        values.FLAG,
        _FILE.spa,
        "Answer with index.html where there is no page, nor an application to ask.",
    )
    try_files: bool = setting(
        _FILES, values.FLAG, False, "Leave to the next mount what a folder does not have."
    )
    autoindex: bool = setting(_FILES, values.FLAG, _FILE.autoindex, "List a folder that has no index.html.")
    follow_links: bool = setting(
        _FILES, values.FLAG, _FILE.follow_links, "Let links lead out of the folder that is served."
    )
    refused: tuple[str, ...] = setting(
        _FILES,
        values.GLOBS,
        _FILE.refused,
        "Names of files and folders that are never served; nor are those that begin with a dot.",
    )

    @property
    def files(self) -> Files:
        return Files(**{field.name: getattr(self, field.name) for field in fields(Files)})
