from tests.wallets.fake_stripe import fake_stripe

__all__ = ["fake_stripe"]
