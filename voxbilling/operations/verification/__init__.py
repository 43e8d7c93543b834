"""What `verify_billing_deployment` looks at: every part yields findings, and changes nothing."""
