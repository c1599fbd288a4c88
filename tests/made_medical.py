"""DICOM and NIfTI files with a patient's name in them, for tests of what reads them."""

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

NAME, BORN = "Doe^Jane", "19700230"  # no such day: pydicom warns, and quotes it
SLICES = np.random.default_rng(0).integers(0, 1000, (3, 6, 8), np.int16)


def dicom(path, values=SLICES, **tags):
    """Write an MR file with a patient's name in it; `tags` override, None removes."""
    values = np.asarray(values)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(None, ["a"])
    data.PatientName, data.PatientID, data.PatientBirthDate = NAME, f"{NAME}-7", BORN
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "MR", "MONOCHROME2", 1
    if len(values) > 1:
        data.NumberOfFrames = len(values)
    data.Rows, data.Columns = values.shape[1:]
    data.BitsAllocated = data.BitsStored = 8 * values.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    data["PixelData"].VR = "OW"
    for name, value in tags.items():
        delattr(data, name) if value is None else setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def nifti(path, volume, codes="RAS"):
    """Write a canonical volume in another orientation, with a patient's name in its header."""
    axes = nibabel.orientations.axcodes2ornt(codes)
    canonical = nibabel.orientations.axcodes2ornt("RAS")
    turn = nibabel.orientations.ornt_transform(canonical, axes)
    image = nibabel.Nifti1Image(volume, np.diag([1, 1, 3, 1])).as_reoriented(turn)
    image.header["descrip"] = image.header["db_name"] = NAME
    image.to_filename(path)
    return path
