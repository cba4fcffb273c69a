"""The core: async def, speaks DICOM terms only; knows neither HTTP nor PDUs nor SQL."""
