"""What staff do in the admin: commands that are shown before they are done, and edits. Both are
recorded by `wallets.audit`."""
