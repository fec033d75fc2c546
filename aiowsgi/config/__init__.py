"""Every setting once: command line, file, environment and documentation are derived from here."""

from aiowsgi.config.declaring import Setting
from aiowsgi.config.page import settings_page
from aiowsgi.config.parts import Files, Lifetime, Limits, Timeouts, Tls
from aiowsgi.config.settings import SETTINGS, Config
from aiowsgi.config.sources import ConfigError, current_folder, keep_fixed, load, load_some

__all__ = [
    "SETTINGS",
    "Config",
    "ConfigError",
    "Files",
    "Lifetime",
    "Limits",
    "Setting",
    "Timeouts",
    "Tls",
    "current_folder",
    "keep_fixed",
    "load",
    "load_some",
    "settings_page",
]
