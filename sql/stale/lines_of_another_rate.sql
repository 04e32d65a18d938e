-- Order lines whose commission rate is another one now (A4, D7).
--
-- grain:  one row per order date and changed rate
-- kind:   temporary
-- reads:  stale.lines_of_changed_rates, rule.commission_rate
-- params: $default_rate
with applied as (
    select order_id, line_id, placed_at, rate, scope
    from rule.commission_rate
    where is_applied
)

select distinct
    lines.order_date,
    lines.scope,
    lines.scope_id
from stale.lines_of_changed_rates as lines
left join applied
    on lines.order_id = applied.order_id
    and lines.line_id = applied.line_id
    and lines.placed_at = applied.placed_at
where lines.commission_rate <> coalesce(applied.rate, cast($default_rate as decimal(9, 6)))
    or lines.rate_source <> coalesce(applied.scope, 'default')
