-- The sums of report.refunds are those of the ledger and of the unattributed lines.
--
-- reads:  report.refunds, report.transaction_details, attribution.movements
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
    select report_date, refunds, refund_amount, pending_reversed, approved_reversed
    from report.refunds
    union all
    select report_date, -1, sale_amount, pending_commission, approved_commission
    from ledger
    where is_effective and movement = 'refunded'
)

select
    report_date,
    sum(refunds) as refunds_too_many,
    sum(refund_amount) as refund_amount_too_much,
    sum(pending_reversed) as pending_reversed_too_much,
    sum(approved_reversed) as approved_reversed_too_much
from sides
group by report_date
having sum(refunds) <> 0
    or sum(refund_amount) <> 0
    or sum(pending_reversed) <> 0
    or sum(approved_reversed) <> 0
order by report_date
