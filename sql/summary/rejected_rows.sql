-- How many rows of the landing dates being cleaned were rejected, by reason.
--
-- reads:  clean.judged_clicks, clean.judged_order_events
with judged as (
    select reject_reason from clean.judged_clicks where reject_reason is not null
    union all
    select reject_reason from clean.judged_order_events where reject_reason is not null
)

select reject_reason, count(*) as rejected_rows
from judged
group by reject_reason
order by reject_reason
