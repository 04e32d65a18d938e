-- Ids that may be there more than once, as numbers: only rows with such an id can be duplicates.
--
-- grain:  one row per number
-- kept:   for the run
-- reads:  raw.clicks, clean.clicks, clean.rejects
--
-- Two ids may share a number, once in a great while. Whether a row is a duplicate is decided by
-- its id, later, so that a number too many costs a moment and changes nothing.
--
-- Of landing dates that are clean already those ids count that were valid: those kept, and their
-- duplicates.
with known as (
    select click_id from clean.clicks
    union all
    select row_id as click_id
    from clean.rejects
    where log = 'clicks' and reason = 'duplicate'
),

ids as (
    select click_id from raw.clicks
    union all
    select click_id from known
)

select unnest(repeated(hash64(click_id))) as id_number
from ids
