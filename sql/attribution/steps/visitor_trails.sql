-- On which trail the anonymous clicks of a visitor are, and when.
--
-- grain:  one row per visitor, trail and validity
-- kind:   temporary
-- rule:   whose_click
-- reads:  attribution.buyer_trails, attribution.visitor_keys, reference.identities
--
-- Where identities name a buyer who ordered, a click is on the buyer's trail (C5). Where they name
-- nobody, it is on the visitor's own, if there is one (C7). So a click is on one trail at most, and
-- counts once.
with identities as (
    select visitor_id, buyer_id, valid_from, valid_to
    from reference.identities
),

visitors as (
    select distinct visitor_id
    from attribution.visitor_keys
),

-- A visitor's identities in order. Before them stands a row that ends where time begins.
known as (
    select
        visitor_id,
        true as is_beginning,
        cast(null as timestamp) at time zone 'UTC' as valid_from,
        cast(null as timestamp) at time zone 'UTC' as valid_to
    from visitors
    union all
    select
        identities.visitor_id,
        false as is_beginning,
        identities.valid_from,
        identities.valid_to
    from visitors
    inner join identities
        on visitors.visitor_id = identities.visitor_id
),

in_order as (
    select
        known.*,
        lead(is_beginning) over later as next_is_beginning,
        lead(valid_from) over later as next_valid_from
    from known
    window later as (
        partition by visitor_id
        order by is_beginning desc, valid_from nulls first
    )
),

-- Validities of one visitor do not overlap.
gaps as (
    select
        visitor_id,
        valid_to as valid_from,
        next_valid_from as valid_to
    from in_order
    where (is_beginning or valid_to is not null)
        and (
            next_is_beginning is null
            or (is_beginning and next_valid_from is not null)
            or valid_to < next_valid_from
        )
)

select
    'identities' as matched_by,
    buyers.trail_key,
    buyers.scope_key,
    identities.visitor_id,
    identities.valid_from,
    identities.valid_to
from attribution.buyer_trails as buyers
inner join identities
    on buyers.buyer_id = identities.buyer_id
union all
select
    'logs' as matched_by,
    visitors.trail_key,
    visitors.scope_key,
    gaps.visitor_id,
    gaps.valid_from,
    gaps.valid_to
from attribution.visitor_keys as visitors
inner join gaps
    on visitors.visitor_id = gaps.visitor_id
