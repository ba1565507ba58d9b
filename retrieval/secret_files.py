"""Settings that may come from files: `DRIFTGATE_X_FILE` names a file with the value of field `x`.

For secrets, as containers mount them: what is in the environment is seen by whoever may inspect it,
and by every child. All packages read their settings through this, so it is in the lowest of them.
"""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

_PREFIX = "DRIFTGATE_"


class FileSettings(BaseSettings):
    """`DRIFTGATE_*` variables, files that `DRIFTGATE_*_FILE` name, and `driftgate.env`.

    Raises:
        SettingsError: A file cannot be read, or a value is given twice.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file="driftgate.env", frozen=True, extra="ignore"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the files between the variables and `driftgate.env`."""
        return init_settings, env_settings, _Files(settings_cls), dotenv_settings


class _Files(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{_PREFIX}{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if not path or f"{field_name}_file" in self.settings_cls.model_fields:
            return None, field_name, False
        if os.environ.get(variable):
            raise SettingsError(f"{variable} and {variable}_FILE are both set; take one away.")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise SettingsError(f"{variable}_FILE={path}: {reason}.") from None

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found
