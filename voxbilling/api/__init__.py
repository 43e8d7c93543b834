"""What every JSON endpoint shares, whatever it is about: bodies, errors, throttles, schema."""
