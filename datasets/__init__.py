"""The data sets: what each one is, how its raw form is read, the HDF5 file between, and the way onto the device."""
