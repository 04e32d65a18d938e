-- What the rules do not know of raw rows that are rejected or may be repetitions.
--
-- grain:  one row per such raw row of the landing dates to clean
-- kind:   temporary
-- split:  dt
-- reads:  raw.records
--
-- Nearly all rows are accepted, and of these only the columns that the rules know are read. Of the
-- others the rest is read, by their place in their file.
select dt, row_at, record
from raw.records
