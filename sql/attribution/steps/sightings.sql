-- Which buyer each visitor was seen with, and from when until when.
--
-- grain:  one row per visitor, buyer and stretch of sightings without another buyer or a long gap
-- kind:   temporary
-- rule:   latest_sightings
-- reads:  attribution.buyer_trails, clean.clicks, clean.order_events
-- params: $from, $to, $window
--
-- For an order line the latest sighting decides (C7), so a sighting holds until the next one of its
-- visitor, and no longer than the window. Stretches are few: most visitors are seen with one buyer.
-- Only visitors who were seen with a buyer who ordered matter, but then their other buyers do, too.
with seen as (
    select visitor_id, buyer_id, clicked_at as seen_at
    from clean.clicks
    where clicked_at >= $from - $window
        and clicked_at < $to
        and buyer_id is not null
        and visitor_id is not null
    union all
    select visitor_id, buyer_id, event_at as seen_at
    from clean.order_events
    where event_at >= $from - $window
        and event_at < $to
        and event_type = 'placed'
        and visitor_id is not null
),

buyers as (
    select distinct buyer_id
    from attribution.buyer_trails
),

visitors as (
    select distinct seen.visitor_id
    from buyers
    inner join seen
        on buyers.buyer_id = seen.buyer_id
),

-- Of several sightings at one instant the greatest buyer_id decides.
deciding as (
    select
        seen.visitor_id,
        seen.seen_at,
        max(seen.buyer_id) as buyer_id
    from visitors
    inner join seen
        on visitors.visitor_id = seen.visitor_id
    group by seen.visitor_id, seen.seen_at
),

in_order as (
    select
        deciding.*,
        lag(buyer_id) over earlier as previous_buyer_id,
        lag(seen_at) over earlier as previous_seen_at
    from deciding
    window earlier as (partition by visitor_id order by seen_at)
),

numbered as (
    select
        in_order.*,
        sum(
            case
                when previous_buyer_id = buyer_id and previous_seen_at >= seen_at - $window then 0
                else 1
            end
        ) over (partition by visitor_id order by seen_at) as stretch
    from in_order
),

stretches as (
    select
        visitor_id,
        buyer_id,
        min(seen_at) as first_seen_at,
        max(seen_at) as last_seen_at
    from numbered
    group by visitor_id, buyer_id, stretch
)

select
    visitor_id,
    buyer_id,
    first_seen_at,
    last_seen_at,
    lead(first_seen_at) over (partition by visitor_id order by first_seen_at) as next_seen_at
from stretches
