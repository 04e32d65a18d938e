-- What happened to each shopper, in order: clicks, windows that open, orders.
--
-- grain:  one row per click of a shopper, and two per order line placed
-- kept:   for the run, the clicks apart
-- split:  is_click
-- reads:  attribution.shopper_clicks, attribution.shopper_lines
-- params: $window, $tie, $slice
--
-- Clicks are counted along the way. A line's candidates (A1) are then the clicks counted
-- between the moment its window opened and the moment it was placed: how many there are, the
-- first and the last follow from two numbers, and no click is compared with every order.
-- A click at the very instant the window opens is in it; whether one at the very instant of
-- the order is, the job decides. Counting goes on from one shopper to the next, for only
-- differences matter. Shoppers come in slices that fit into memory, each on a core of its own.
--
-- One number puts entries in order: shopper, then microsecond, then turn. Sorting by it is twice
-- as quick as by the three; the years 1 to 9999 have fewer than 4 x 10^17 microseconds.
with clicks as (
    select shopper, clicked_at
    from attribution.shopper_clicks
    where slice = $slice
),

lines as (
    select shopper, placed_at, line
    from attribution.shopper_lines
    where slice = $slice
),

entries as (
    select
        true as is_click,
        shopper,
        clicked_at as happened_at,
        1 as turn,
        null as line,
        null as is_order
    from clicks
    union all
    select
        false as is_click,
        shopper,
        placed_at - $window as happened_at,
        0 as turn,
        line,
        false as is_order
    from lines
    union all
    select
        false as is_click,
        shopper,
        placed_at as happened_at,
        case when $tie = 'before' then 0 else 2 end as turn,
        line,
        true as is_order
    from lines
),

placed as (
    select
        entries.*,
        cast(shopper as decimal(18, 0)) * cast(2000000000000000000 as decimal(19, 0))
            + cast(cast(happened_at as bigint) * 4 + turn as decimal(19, 0)) as place
    from entries
)

select
    is_click,
    $slice as slice,
    counted(is_click) over (order by place) as clicks_so_far,
    line,
    is_order,
    happened_at
from placed
