"""What the appliance can do: one small file per variant, no order, no policy."""
