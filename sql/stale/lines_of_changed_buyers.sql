-- Order lines of buyers whose visitors changed, with these visitors (C5, C7, D7).
--
-- grain:  one row per order line and visitor
-- kind:   temporary
-- reads:  changed.identities, attribution.conversions, clean.clicks, clean.order_events
-- params: $from_logs
--
-- Where logs tell whose a visitor is, an identity that comes or goes bears on every buyer who was
-- seen with the visitor.
with seen as (
    select visitor_id, buyer_id
    from clean.clicks
    where $from_logs and visitor_id in (select visitor_id from changed.identities)
    union all
    select visitor_id, buyer_id
    from clean.order_events
    where $from_logs
        and event_type = 'placed'
        and visitor_id in (select visitor_id from changed.identities)
),

pairs as (
    select visitor_id, buyer_id from changed.identities
    union
    select visitor_id, buyer_id from seen where buyer_id is not null
)

select lines.*, pairs.visitor_id
from pairs
inner join attribution.conversions as lines
    on pairs.buyer_id = lines.buyer_id
where lines.status <> 'store_not_joined'
