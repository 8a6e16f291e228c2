"""``mdmctl``: the administrators' client, with the commands, flags and files of MicroMDM's."""
