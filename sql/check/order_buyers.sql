-- How many order lines were placed, and of how many the buyer clicked on a promotion link.
--
-- grain:  one row
-- reads:  raw.clicks, raw.orders, reference.identities
--
-- Clicks count whenever they happened: this asks whether buyers of both logs are the same people,
-- and not which click earns what.
with placed as (
    select distinct order_id, line_id, buyer_id
    from raw.orders
    where event_type = 'placed' and buyer_id is not null
),

clicking as (
    select distinct buyer_id
    from raw.clicks
    where link_key is not null and buyer_id is not null
),

named as (
    select distinct identities.buyer_id
    from raw.clicks as clicks
    inner join reference.identities as identities
        on clicks.visitor_id = identities.visitor_id
        and (identities.valid_from is null or identities.valid_from <= clicks.clicked_at)
        and (identities.valid_to is null or clicks.clicked_at < identities.valid_to)
    where clicks.link_key is not null and clicks.buyer_id is null
)

select
    count(*) as lines,
    count(clicking.buyer_id) as by_buyer,
    count(case when clicking.buyer_id is null then named.buyer_id end) as by_identities
from placed
left join clicking on placed.buyer_id = clicking.buyer_id
left join named on placed.buyer_id = named.buyer_id
