"""The pages on which customers see their wallet and pay money in. Rules are in `wallets`."""
