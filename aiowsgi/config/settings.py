"""All settings in one: name, type, default, unit and meaning of each are declared once, as a field of Config."""

from dataclasses import dataclass, fields

from aiowsgi.config.clients import ClientSettings
from aiowsgi.config.declaring import Setting, default_text
from aiowsgi.config.processes import ProcessSettings
from aiowsgi.config.servers import ServerSettings
from aiowsgi.config.sites import SiteSettings


@dataclass(frozen=True, kw_only=True)
class Config(
    ClientSettings, ProcessSettings, ServerSettings, SiteSettings
):  # fields come from the last base first
    """All settings. Making one checks nothing; ``load`` does."""


SETTINGS = {
    field.name: Setting(
        name=field.name,
        group=field.metadata["group"],
        kind=field.metadata["kind"],
        help=field.metadata["help"],
        default=field.metadata["shown"] or default_text(field.metadata["kind"], field.default),
        fixed=field.metadata["fixed"],
    )
    for field in fields(Config)
}
