"""The JSON API of phone numbers, below /api/managed-telephony/."""
