"""How the page looks: in light and dark, narrow and wide, on paper."""

from typing import Final

from .chart import Phase

#: The colours of each phase, on white and on black; each has a contrast of 3:1 to its ground at the least.
_COLOURS: Final = {
    Phase.WAIT: ("#7d858f", "#8b949e"),
    Phase.NAME: ("#0c7c7e", "#39c5cf"),
    Phase.DIAL: ("#bc5a00", "#f0883e"),
    Phase.TUNNEL: ("#8f4f33", "#d8ab80"),
    Phase.HANDSHAKE: ("#7a48d6", "#a985f8"),
    Phase.CONFIRM: ("#b8357f", "#f778ba"),
    Phase.FIRST_BYTE: ("#1a7f37", "#3fb950"),
    Phase.BODY: ("#0969da", "#58a6ff"),
    Phase.PAUSE: ("#6e7781", "#7d8590"),
    Phase.CALL: ("#57606a", "#9198a1"),
}


def class_of(phase: Phase) -> str:
    """The class of an element that shows a phase."""
    return "p-" + phase.value.replace(" ", "-")


def _variables(column: int) -> str:
    return "".join(f"--{class_of(phase)}:{colours[column]};" for phase, colours in _COLOURS.items())


_PHASES: Final = "\n".join(f".{class_of(phase)}{{fill:var(--{class_of(phase)})}}" for phase in Phase)

STYLESHEET: Final = f"""
:root{{color-scheme:light dark;--ground:#fff;--card:#f6f8fa;--text:#1f2328;--quiet:#59636e;--line:#d1d9e0;
--ok:#1a7f37;--warn:#8a5a00;--fail:#c21f2b;--hatch:#fff;{_variables(0)}}}
@media (prefers-color-scheme:dark){{:root{{--ground:#0d1117;--card:#151b23;--text:#f0f6fc;--quiet:#a5aeb8;
--line:#3d444d;--ok:#3fb950;--warn:#d9a520;--fail:#ff7b72;--hatch:#0d1117;{_variables(1)}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;max-width:110rem;padding:1rem;background:var(--ground);color:var(--text);
font:1rem/1.45 system-ui,sans-serif}}
h1,h2,h3,p,summary,li,td,th,figcaption{{overflow-wrap:anywhere;unicode-bidi:isolate}}
h1{{font-size:1.5rem;margin:0 0 .75rem}}
h2{{font-size:1.1rem;margin:0}}
h3{{font-size:.9rem;font-weight:500;margin:0}}
p{{margin:.25rem 0}}
.quiet{{color:var(--quiet)}}
.verdict{{border:1px solid var(--line);border-left:.4rem solid var(--level);border-radius:.4rem;
background:var(--card);padding:.6rem .9rem;margin:0 0 1rem;font-weight:600}}
.ok{{--level:var(--ok)}} .warn{{--level:var(--warn)}} .fail{{--level:var(--fail)}}
.skipped{{--level:var(--quiet)}}
.mark{{color:var(--level);font-weight:700}}
.unseen{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}}
.legend{{display:flex;flex-wrap:wrap;gap:.3rem 1rem;margin:0 0 1rem;padding:0;
list-style:none;font-size:.9rem}}
.legend li{{display:flex;align-items:center;gap:.4rem}}
.legend svg{{width:1.6rem;height:1rem;flex:none}}
.charts{{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,40rem),1fr))}}
.wide{{margin-bottom:1rem}}
.chart{{container-type:inline-size;min-width:0;padding:.9rem;border:1px solid var(--line);
border-radius:.5rem;background:var(--card)}}
.chart ol{{list-style:none;margin:.6rem 0 0;padding:0}}
.row,.axis{{display:grid;grid-template-columns:minmax(0,1fr);gap:.15rem 1rem;padding:.35rem 0;
border-top:1px solid var(--line)}}
.axis{{border:0;padding:.2rem 0 0}}
.axis>svg{{height:1.2rem;font-size:.75rem;fill:var(--quiet)}}
.outcome{{font-size:.9rem}}
.row .outcome .mark{{margin-right:.3rem}}
.legend svg{{overflow:visible}}
.track>svg,.axis>svg{{display:block;width:100%;overflow:visible}}
.track>svg{{height:1.5rem}}
svg svg{{overflow:visible}}
.row line,.axis line{{stroke:var(--line)}}
.hatch{{fill:url(#hatch);stroke:var(--fail);stroke-width:2}}
.cross{{fill:none;stroke:var(--fail);stroke-width:2.5}}
.hatching{{stroke:var(--hatch);stroke-width:3}}
.{class_of(Phase.PAUSE)}{{fill-opacity:.35;stroke:var(--{class_of(Phase.PAUSE)});stroke-dasharray:4 3}}
details{{font-size:.85rem}}
details ul{{margin:.2rem 0 .3rem;padding-left:1.2rem}}
summary{{cursor:pointer;width:fit-content;color:var(--quiet)}}
summary:focus-visible{{outline:2px solid var(--p-body);outline-offset:2px}}
@container (min-width:38rem){{
.row,.axis{{grid-template-columns:minmax(10rem,17rem) minmax(0,1fr)}}
.row .track{{grid-row:1/3;grid-column:2;align-self:center}}
.row details{{grid-column:1/3}}
.axis>svg{{grid-column:2}}
}}
@container (min-width:70rem){{.row,.axis{{grid-template-columns:minmax(10rem,26rem) minmax(0,1fr)}}}}
table{{border-collapse:collapse;width:100%;margin:.4rem 0 1.2rem;font-size:.95rem}}
caption{{text-align:left;font-weight:600;padding:.3rem 0}}
th,td{{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line)}}
th{{color:var(--quiet);font-weight:600}}
@media (min-width:42.01rem){{
th{{overflow-wrap:normal}}
td{{min-width:min(8rem,max(4rem,8vw))}}
td:first-child{{min-width:9.5rem}}
}}
@media (max-width:42rem){{
table,tbody,tr,td,caption{{display:block}}
thead{{display:none}}
tr{{border-bottom:1px solid var(--line);padding:.3rem 0}}
td{{border:0;padding:.1rem 0}}
td:empty{{display:none}}
td[data-column]::before{{content:attr(data-column) ": ";color:var(--quiet)}}
}}
@media print{{.chart{{break-inside:avoid}}}}
{_PHASES}
"""
