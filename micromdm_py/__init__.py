"""micromdm_py: an Apple MDM server that takes over where MicroMDM stopped."""

__all__ = ["__version__"]

__version__ = "0.1.0"
