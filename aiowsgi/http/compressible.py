"""Which media types are worth compressing: those whose bytes repeat themselves, as text does."""

# Beside text of any kind: what is text under another name, and the few pictures and fonts that come uncompressed.
_COMPRESSIBLE = frozenset(
    {
        "application/dash+xml",
        "application/graphql",
        "application/javascript",
        "application/json",
        "application/json5",
        "application/postscript",
        "application/rtf",
        "application/sql",
        "application/toml",
        "application/vnd.apple.mpegurl",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/x-pem-file",
        "application/x-sh",
        "application/x-yaml",
        "application/xml",
        "application/xml-dtd",
        "application/yaml",
        "font/collection",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/x-icon",
        "model/obj",
        "model/stl",
    }
)
_SUFFIXES = ("+json", "+xml", "+yaml", "+text")  # RFC 6839, RFC 9512


def is_compressible(content_type: str) -> bool:
    """Tell it of a Content-Type, whatever its parameters."""
    media_type = content_type.partition(";")[0].strip(" \t").lower()
    return media_type.startswith("text/") or media_type in _COMPRESSIBLE or media_type.endswith(_SUFFIXES)
