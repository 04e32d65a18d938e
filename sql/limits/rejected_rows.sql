-- How many rows of some landing dates of a log were rejected, by reason, duplicates aside (Q1).
--
-- reads:  clean.rejects
-- params: $log
select dt, reason, count(*) as rejected_rows
from clean.rejects
where log = $log and reason <> 'duplicate'
group by dt, reason
order by dt, rejected_rows desc, reason
