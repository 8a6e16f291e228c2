"""Moving in from other MDM servers and out again: their files, read and written without their libraries."""
