"""Money between Stripe and wallets: top-ups, cards, recharges, refunds and disputes."""
