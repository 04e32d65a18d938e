-- The sums of report.orders are those of the ledger and of the unattributed lines.
--
-- reads:  report.orders, report.transaction_details, attribution.movements
with ledger as (
    select report_date, movement, is_effective, sale_amount, pending_commission,
        approved_commission
    from report.transaction_details
    union all
    select report_date, movement, is_effective, sale_amount, pending_commission,
        approved_commission
    from attribution.movements
    where status <> 'attributed'
),

sides as (
    select
        report_date,
        placed_lines,
        placed_amount,
        paid_lines,
        estimated_commission,
        completed_lines,
        actual_commission,
        cancelled_lines
    from report.orders
    union all
    select
        report_date,
        case when movement = 'placed' then -1 else 0 end,
        case when movement = 'placed' then -sale_amount else 0 end,
        case when movement = 'paid' then -1 else 0 end,
        case when movement = 'paid' then -pending_commission else 0 end,
        case when movement = 'completed' then -1 else 0 end,
        case when movement = 'completed' then -approved_commission else 0 end,
        case when movement = 'cancelled' then -1 else 0 end
    from ledger
    where is_effective
)

select
    report_date,
    sum(placed_lines) as placed_lines_too_many,
    sum(placed_amount) as placed_amount_too_much,
    sum(paid_lines) as paid_lines_too_many,
    sum(estimated_commission) as estimated_commission_too_much,
    sum(completed_lines) as completed_lines_too_many,
    sum(actual_commission) as actual_commission_too_much,
    sum(cancelled_lines) as cancelled_lines_too_many
from sides
group by report_date
having sum(placed_lines) <> 0
    or sum(placed_amount) <> 0
    or sum(paid_lines) <> 0
    or sum(estimated_commission) <> 0
    or sum(completed_lines) <> 0
    or sum(actual_commission) <> 0
    or sum(cancelled_lines) <> 0
order by report_date
