-- What happened to each buyer who ordered, in order: clicks, windows that open, orders.
--
-- grain:  one row per click of such a buyer, and two per order line placed
-- kept:   for the run, the clicks apart
-- split:  is_click
-- reads:  clean.clicks, attribution.placed_lines
-- params: $from, $to, $window, $tie, $scope, $slice, $first_buyer, $next_buyer
--
-- Clicks are counted along the way. A line's candidates (A1) are then the clicks counted
-- between the moment its window opened and the moment it was placed: how many there are, the
-- first and the last follow from two numbers, and no click is compared with every order.
-- A click at the very instant the window opens is in it; whether one at the very instant of
-- the order is, the job decides. Counting goes on from one buyer to the next, for only
-- differences matter. Buyers come in slices that fit into memory, each on a core of its own.
--
-- scope_key is empty, or the store when only clicks that landed on the order's store count.
with placed_lines as (
    select line, buyer_id, scope_key, placed_at
    from attribution.placed_lines
    where buyer_id >= $first_buyer
        and ($next_buyer is null or buyer_id < $next_buyer)
),

clicks as (
    select
        true as is_click,
        buyer_id,
        case when $scope = 'store' then store_id else '' end as scope_key,
        clicked_at as happened_at,
        1 as turn,
        click_id,
        publisher_id,
        tracking_id,
        link_key,
        store_id,
        country,
        device,
        null as line,
        null as is_order
    from clean.clicks
    where clicked_at >= $from - $window
        and clicked_at < $to
        and buyer_id >= $first_buyer
        and ($next_buyer is null or buyer_id < $next_buyer)
        and buyer_id in (select distinct buyer_id from placed_lines)
),

entries as (
    select * from clicks
    union all
    select
        false as is_click,
        buyer_id,
        scope_key,
        placed_at - $window as happened_at,
        0 as turn,
        null, null, null, null, null, null, null,
        line,
        false as is_order
    from placed_lines
    union all
    select
        false as is_click,
        buyer_id,
        scope_key,
        placed_at as happened_at,
        case when $tie = 'before' then 0 else 2 end as turn,
        null, null, null, null, null, null, null,
        line,
        true as is_order
    from placed_lines
)

select
    is_click,
    $slice as slice,
    count(click_id) over (
        order by buyer_id, scope_key, happened_at, turn, click_id
        rows between unbounded preceding and current row
    ) as clicks_so_far,
    line,
    is_order,
    happened_at,
    click_id,
    publisher_id,
    tracking_id,
    link_key,
    store_id,
    country,
    device
from entries
