-- Attributed order lines that a changed rate names.
--
-- grain:  one row per order line and changed rate that names its product, category or store
-- kind:   temporary
-- reads:  changed.rates, attribution.conversions
with lines as (
    select
        order_date, order_id, line_id, event_id, placed_at, store_id, product_id, category_id,
        commission_rate, rate_source
    from attribution.conversions
    where status = 'attributed'
)

select lines.*, rates.scope, rates.scope_id
from changed.rates as rates
inner join lines
    on rates.scope = 'product' and rates.scope_id = lines.product_id
union all
select lines.*, rates.scope, rates.scope_id
from changed.rates as rates
inner join lines
    on rates.scope = 'category' and rates.scope_id = lines.category_id
union all
select lines.*, rates.scope, rates.scope_id
from changed.rates as rates
inner join lines
    on rates.scope = 'store' and rates.scope_id = lines.store_id
