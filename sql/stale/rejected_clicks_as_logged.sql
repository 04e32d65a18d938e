-- Rejected clicks that a link may make valid or invalid, with what they were rejected for.
--
-- grain:  one row per rejected click
-- kind:   temporary
-- reads:  clean.rejects
select
    dt,
    row_id,
    reason,
    arrow_cast(json_text(record, 'clicked_at'), 'Timestamp(Microsecond, Some("UTC"))')
        as clicked_at,
    json_text(record, 'url') as url
from clean.rejects
where log = 'clicks' and reason in ('unknown_link', 'duplicate')
