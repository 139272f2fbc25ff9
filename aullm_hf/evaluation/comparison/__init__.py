"""Many runs side by side: paired differences, tables and figures."""
