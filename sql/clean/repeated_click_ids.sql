-- Ids that are there more than once: only their rows can be duplicates.
--
-- grain:  one row per id
-- kept:   for the run
-- reads:  raw.clicks, clean.clicks, clean.rejects
-- params: $first_dt
with new as (
    select click_id
    from raw.clicks
    where click_id is not null
),

-- Ids that were valid on landing dates cleaned before: those kept, and their duplicates.
known as (
    select click_id from clean.clicks where dt < $first_dt
    union all
    select row_id as click_id
    from clean.rejects
    where log = 'clicks' and reason = 'duplicate' and dt < $first_dt
)

select click_id
from new
group by click_id
having count(*) > 1
union
select click_id
from known
where click_id in (select click_id from new)
