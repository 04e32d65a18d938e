-- Which raw rows repeat an earlier row of their id (C3).
--
-- grain:  one row per valid row: a row that passes every other check
-- kind:   temporary
-- reads:  raw.valid_rows
-- params: $dedup_days
--
-- Logs are delivered at least once, so a row may arrive again. A valid row is a duplicate when a
-- valid row with its id landed at most $dedup_days before, or comes before it on its own date. A
-- duplicate still counts as a valid row for the rows after it. The column position sorts the rows
-- of one id and date: by time, then by the other columns.
with valid_rows as (
    select log, dt, row_id, position
    from raw.valid_rows
)

select
    valid_rows.*,
    lag(dt) over earlier as previous_dt,
    coalesce(lag(dt) over earlier >= dt - cast($dedup_days as interval), false) as is_duplicate
from valid_rows
window earlier as (partition by log, row_id order by dt, position)
