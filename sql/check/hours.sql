-- When rows happened, in hours since their landing date began.
--
-- grain:  one row per log and hour
-- reads:  raw.clicks, raw.orders
--
-- Most rows land on the date on which they happened: hours 0 to 23. Rows of local times are some
-- hours off.
with times as (
    select 'clicks' as log, dt, clicked_at as happened_at
    from raw.clicks
    where clicked_at is not null
    union all
    select 'orders' as log, dt, event_at as happened_at
    from raw.orders
    where event_at is not null
),

hours as (
    select
        log,
        cast(
            floor((date_part('epoch', happened_at) - date_part('epoch', dt)) / 3600) as bigint
        ) as hour
    from times
)

select log, hour, count(*) as rows_of_hour
from hours
group by log, hour
order by log, hour
