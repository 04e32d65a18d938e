"""Files with another footer: what no writer at hand writes, but writers of other times did."""

from fastparquet.cencoding import ThriftObject, from_buffer

CONVERTED = {None: None, "UTF8": 0, "ENUM": 4, "JSON": 19}


def with_schema(data, change, dictionary_page_offset=None):
    """The file with each column's schema element changed, and all columns said to have their
    dictionary there. `change` gets a dict with name, annotation and logical."""
    length = int.from_bytes(data[-8:-4], "little")
    begin = len(data) - 8 - length
    meta = from_buffer(data[begin:-8], "FileMetaData")
    for element in meta.schema[1:]:
        name = element.name.decode() if isinstance(element.name, bytes) else element.name
        kept = object()
        changed = {"name": name, "annotation": kept, "logical": kept}
        change(changed)
        if changed["annotation"] is not kept:
            element.converted_type = CONVERTED[changed["annotation"]]
        if changed["annotation"] is not kept or changed["logical"] is not kept:
            element.logicalType = None
    if dictionary_page_offset is not None:
        for group in meta.row_groups:
            for column in group.columns:
                column.meta_data.dictionary_page_offset = dictionary_page_offset
    assert isinstance(meta, ThriftObject)
    footer = bytes(meta.to_bytes())
    return data[:begin] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
