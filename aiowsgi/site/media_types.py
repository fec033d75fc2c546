"""The media type of a file, by its name: one table for every machine, never the machine's own."""

from collections.abc import Mapping

# IANA's registry where it has the type, else what browsers expect.
MEDIA_TYPES = {
    # pages and what they load
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "application/xhtml+xml",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "cjs": "text/javascript",
    "json": "application/json",
    "map": "application/json",
    "jsonld": "application/ld+json",
    "geojson": "application/geo+json",
    "topojson": "application/json",
    "webmanifest": "application/manifest+json",
    "wasm": "application/wasm",
    # text
    "txt": "text/plain",
    "text": "text/plain",
    "log": "text/plain",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "rst": "text/x-rst",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "vtt": "text/vtt",
    "srt": "text/plain",
    "ics": "text/calendar",
    "vcf": "text/vcard",
    "vcard": "text/vcard",
    "c": "text/plain",
    "h": "text/plain",
    "sh": "text/plain",
    "diff": "text/plain",
    "patch": "text/plain",
    "ini": "text/plain",
    "conf": "text/plain",
    "toml": "application/toml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "ndjson": "application/x-ndjson",
    # XML says its own encoding
    "xml": "application/xml",
    "xsl": "application/xslt+xml",
    "xslt": "application/xslt+xml",
    "xsd": "application/xml",
    "dtd": "application/xml-dtd",
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "kml": "application/vnd.google-earth.kml+xml",
    "kmz": "application/vnd.google-earth.kmz",
    "gpx": "application/gpx+xml",
    "rdf": "application/rdf+xml",
    # pictures
    "svg": "image/svg+xml",
    "png": "image/png",
    "apng": "image/apng",
    "gif": "image/gif",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "jpe": "image/jpeg",
    "jfif": "image/jpeg",
    "jxl": "image/jxl",
    "webp": "image/webp",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
    "ico": "image/x-icon",
    "cur": "image/x-icon",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    # sound and film
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "mid": "audio/midi",
    "midi": "audio/midi",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "webm": "video/webm",
    "ogv": "video/ogg",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "mkv": "video/matroska",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "ts": "video/mp2t",
    "m2ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "3gp": "video/3gpp",
    # fonts
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "ttc": "font/collection",
    "eot": "application/vnd.ms-fontobject",
    # documents
    "pdf": "application/pdf",
    "ps": "application/postscript",
    "eps": "application/postscript",
    "rtf": "application/rtf",
    "epub": "application/epub+zip",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    # archives and programs; their content coding is their content, so Content-Encoding is never meant
    "zip": "application/zip",
    "gz": "application/gzip",
    "tgz": "application/gzip",
    "bz2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zst": "application/zstd",
    "tar": "application/x-tar",
    "7z": "application/x-7z-compressed",
    "rar": "application/vnd.rar",
    "jar": "application/java-archive",
    "apk": "application/vnd.android.package-archive",
    "deb": "application/vnd.debian.binary-package",
    "rpm": "application/x-rpm",
    "torrent": "application/x-bittorrent",
    "whl": "application/zip",
    "asc": "text/plain",
    "sig": "application/pgp-signature",
    "crt": "application/pkix-cert",
    "der": "application/pkix-cert",
    "pem": "application/x-pem-file",
    "bin": "application/octet-stream",
    "iso": "application/octet-stream",
    # 3D models
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "stl": "model/stl",
    "obj": "model/obj",
}

# Files that must have a certain type and have no extension to tell it by.
WHOLE_NAMES = {
    "apple-app-site-association": "application/json",
}

UNKNOWN = "application/octet-stream"


def content_type(path: bytes, charset: str = "utf-8", more: Mapping[str, str] | None = None) -> str:
    """Return the Content-Type of the file at ``path`` (RFC 9110 section 8.3).

    ``more`` are types by extension that come before those of the table. ``charset`` goes with text only, and
    not at all where it is "" or the type has parameters of its own. JSON is UTF-8 by definition (RFC 8259), and
    XML declares its encoding itself, which the parameter would override (RFC 7303).
    """
    name = path.rpartition(b"/")[2].decode("latin-1").lower()
    stem, _, extension = name.rpartition(".")
    if not stem:
        extension = ""
    media_type = (more or {}).get(extension) or WHOLE_NAMES.get(name) or MEDIA_TYPES.get(extension, UNKNOWN)
    if charset and media_type.startswith("text/") and ";" not in media_type:
        return f"{media_type}; charset={charset}"
    return media_type
