"""Build, inspect and boot images on the build host; never installed on the device."""
