"""Views and keys that are refused, before any file is looked at: exit code 2, naming what.

A claim is a function of a new world and the tables of the plain one.
"""

from world import dt, ensure

# What is refused, and words that name it.
VIEWS = {
    "select raw.* from raw join raw as other on raw.click_id = other.click_id": ["join"],
    "select raw.* from raw, raw as other": ["join"],
    "select raw.* from raw cross join raw as other": ["join"],
    "select click_id, max(clicked_at) as clicked_at from raw group by click_id": ["GROUP BY"],
    "select max(clicked_at) as clicked_at from raw": ["aggregate", "max"],
    "select distinct * from raw": ["DISTINCT"],
    "select * from raw order by clicked_at": ["ORDER BY"],
    "select * from raw limit 10": ["LIMIT"],
    "select *, row_number() over (partition by click_id) as n from raw": ["window", "row_number"],
    "select *, now() as clicked_at from raw": ["now()"],
    "select *, current_timestamp as clicked_at from raw": ["current_timestamp", "now"],
    "select * from raw where random() < 0.1": ["random()"],
    "select uuid() as click_id, url from raw": ["uuid()"],
    "select * from clicks": ["clicks"],
    "select * from clean.clicks": ["clean.clicks"],
    "select * from raw where store_id in (select store_id from stores)": ["query", "stores"],
    "select * from raw union select * from raw": ["UNION"],
    "select * from raw except select * from raw": ["EXCEPT"],
    "select * from raw where exists (select 1 from raw)": ["query"],
    "delete from raw": ["SELECT"],
    "select * from raw; select * from raw": ["SELECT"],
    "selct * from raw": ["SQL"],
    "select nope(url) as url from raw": ["nope"],
}
KEYS = {
    "a column that is none of ours": (
        'columns = { buyer = "user_id" }',
        ["input.clicks.columns.buyer", "buyer_id"],
    ),
    "columns and a view": ('columns = {}\nview = "views/clicks.sql"', ["view", "columns"]),
    "a view that is not there": ('view = "views/none.sql"', ["views/none.sql"]),
    "a layout without a day": ('layout = "%Y/%m"', ["layout", "%d"]),
    "an hour that is not last": ('layout = "%H/%Y-%m-%d"', ["layout", "%H"]),
    "a layout with a name of the week": ('layout = "%Y-%m-%d-%a"', ["layout", "%a"]),
    "an unknown key": ('sufix = ".parquet"', ["sufix"]),
}


def refuse(world, keys, words, what):
    world.plain()
    world.job(f'\norders = "raw/orders"\n\n[input.clicks]\npath = "raw/clicks"\n{keys}\n')
    dates = ["--from", dt(1), "--to", dt(3)]
    for command, arguments in (("check", []), ("plan", dates), ("backfill", dates)):
        ended = world.program(command, world.job_file, *arguments, codes=(2,))
        heard = ended.err.lower()
        named = [word for word in words if word.lower() in heard]
        ensure(named, f"{what}: {ended.said}\nnames none of {words}\n{ended.err}")
        ensure("job.toml" in ended.err, f"{what}: does not name the job file\n{ended.err}")
    ensure(not (world.folder / "warehouse").exists(), f"{what}: something was written")


def refused_view(sql, words):
    def claim(world, _):
        world.put("views/clicks.sql", sql.encode())
        refuse(world, 'view = "views/clicks.sql"', words, sql)

    return claim


def refused_keys(keys, words):
    def claim(world, _):
        world.put("views/clicks.sql", b"select * from raw")
        refuse(world, keys, words, keys)

    return claim


def a_view_of_columns_that_are_not_there(world, _):
    """The text is fine; the files are not what it was written for."""
    world.plain().put("views/clicks.sql", b"select *, ts as clicked_on from raw")
    world.job(
        '\norders = "raw/orders"\n\n[input.clicks]\npath = "raw/clicks"\nview = "views/clicks.sql"\n'
    )
    for command, arguments in (("check", []), ("backfill", ["--from", dt(1), "--to", dt(3)])):
        ended = world.program(command, world.job_file, *arguments, codes=(2,))
        for word in ("views/clicks.sql", "ts"):
            ensure(word in ended.err, f"does not name {word}\n{ended.err}")


def a_view_that_cannot_be_reckoned(world, _):
    """A cast that fails for a value ends the run; the message names the view."""
    world.plain().put(
        "views/clicks.sql",
        b"select * except (country), cast(country as bigint) as country from raw",
    )
    world.job(
        '\norders = "raw/orders"\n\n[input.clicks]\npath = "raw/clicks"\nview = "views/clicks.sql"\n'
    )
    ended = world.backfill(codes=(2,))
    for word in ("views/clicks.sql", "US"):
        ensure(word in ended.err, f"does not name {word}\n{ended.err}")


CLAIMS = {f"refused view: {sql}": refused_view(sql, words) for sql, words in VIEWS.items()}
CLAIMS |= {f"refused: {name}": refused_keys(*given) for name, given in KEYS.items()}
CLAIMS["refused: a view of columns that are not there"] = a_view_of_columns_that_are_not_there
CLAIMS["refused: a view that cannot be reckoned"] = a_view_that_cannot_be_reckoned
