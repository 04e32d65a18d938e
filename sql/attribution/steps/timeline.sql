-- What happened on each trail, in order: clicks, opening windows, orders.
--
-- grain:  one row per click of a trail, and two per order line placed
-- kind:   temporary
-- split:  is_click
-- rule:   winning_click
-- reads:  attribution.trail_clicks, attribution.trail_lines
-- params: $window, $tie
--
-- Clicks are counted along the timeline. A line's candidates (A1) are the clicks counted from the
-- moment its window opens to the moment it is placed. So two counts give the number of candidates,
-- the first and the last, and no click is compared with every order. A click at the instant the
-- window opens is in it. The job decides whether a click at the instant of the order is. The count
-- continues from one trail to the next, because only differences matter.
--
-- sort_key is one number that sorts like trail_key, happened_at, event_rank. Sorting by it takes
-- half as long as sorting by three columns.
with clicks as (
    select trail_key, clicked_at
    from attribution.trail_clicks
),

lines as (
    select trail_key, placed_at, line_key
    from attribution.trail_lines
),

entries as (
    select
        true as is_click,
        trail_key,
        clicked_at as happened_at,
        1 as event_rank,
        null as line_key,
        null as is_order
    from clicks
    union all
    select
        false as is_click,
        trail_key,
        placed_at - $window as happened_at,
        0 as event_rank,
        line_key,
        false as is_order
    from lines
    union all
    select
        false as is_click,
        trail_key,
        placed_at as happened_at,
        case when $tie = 'before' then 0 else 2 end as event_rank,
        line_key,
        true as is_order
    from lines
)

select
    is_click,
    running_count(is_click) over (order by sort_key(trail_key, happened_at, event_rank))
        as clicks_so_far,
    trail_key,
    line_key,
    is_order,
    happened_at
from entries
