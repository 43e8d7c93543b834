"""The JSON API of wallets, and what every endpoint that acts for an organization is built on."""
