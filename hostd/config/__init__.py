"""The configuration room: settings from TOML and environment, who may write what, passwords.

`hostd.config.settings` reads and checks the configuration, `hostd.config.permissions` refuses folders that are not
safe to use, `hostd.config.passwords` checks users, and `hostd.config.reference` writes docs/configuration.md.
"""
