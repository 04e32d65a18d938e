-- Raw rows that are not accepted, whole: rejected ones, and those whose id may be repeated.
--
-- grain:  one row per such raw row of the landing dates to clean
-- kind:   temporary
-- split:  dt
-- reads:  raw.records
--
-- Nearly all rows are accepted, and of these only the columns that the rules know are read. The
-- others are read again, by their place in their file.
select dt, row_at, record
from raw.records
