-- Ids of landing dates that are clean already, of those that may be there more than once.
--
-- grain:  one row per row that was valid, kept or a duplicate
-- kept:   for the run
-- reads:  clean.repeated_click_ids, clean.clicks, clean.rejects
with repeated as (
    select id_number
    from clean.repeated_click_ids
),

known as (
    select dt, click_id from clean.clicks
    union all
    select dt, row_id as click_id
    from clean.rejects
    where log = 'clicks' and reason = 'duplicate'
)

select dt, click_id
from known
where hash64(click_id) in (select id_number from repeated)
