-- The commission rate of an order line: the narrowest rate in force when it was placed (A4).
--
-- grain:  one row per counting placed event and rate that names its product, category or store
-- kind:   temporary
-- reads:  rule.one_placed_event, reference.rates
--
-- A product's rate goes before a category's, and a category's before a store's. Within one scope a
-- rate for the line's own store goes before a rate for any store. Where no rate applies, the job's
-- default rate does.
with lines as (
    select order_id, line_id, placed_at, store_id, product_id, category_id
    from rule.one_placed_event
    where is_counting
),

judged as (
    select
        lines.order_id,
        lines.line_id,
        lines.placed_at,
        rates.scope,
        rates.scope_id,
        rates.store_id,
        rates.rate,
        rates.valid_from,
        rates.valid_to,
        case
            when rates.store_id <> lines.store_id then 'another store'
            when lines.placed_at < rates.valid_from then 'not yet'
            when lines.placed_at >= rates.valid_to then 'no longer'
            else 'in force'
        end as verdict
    from lines
    inner join reference.rates as rates
        on (rates.scope = 'product' and rates.scope_id = lines.product_id)
        or (rates.scope = 'category' and rates.scope_id = lines.category_id)
        or (rates.scope = 'store' and rates.scope_id = lines.store_id)
)

select
    judged.*,
    verdict = 'in force' and row_number() over narrowest = 1 as is_applied
from judged
window narrowest as (
    partition by order_id, line_id, placed_at, verdict
    order by
        case scope when 'product' then 1 when 'category' then 2 else 3 end,
        store_id is null,
        store_id,
        valid_from nulls first
)
order by
    order_id,
    line_id,
    placed_at,
    case scope when 'product' then 1 when 'category' then 2 else 3 end,
    store_id is null,
    store_id,
    valid_from nulls first
