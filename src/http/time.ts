const [DAY, HOUR, MINUTE, SECOND] = [86_400_000, 3_600_000, 60_000, 1_000];

const two = (number: number) => (number < 10 ? `0${number}` : `${number}`);
const three = (number: number) => (number < 100 ? `0${two(number)}` : `${number}`);

let lastDay = Number.NaN;
let lastDate = ""; // with its T

/**
 * RFC 3339, UTC, from whole milliseconds. Throws where that is no time. A page has up to a thousand of them, mostly of few
 * days, and all else that is done to a row takes less than `toISOString`: only a day's first one takes it.
 */
export function timeOf(ms: number): string {
  const day = Math.floor(ms / DAY);
  if (day !== lastDay) {
    lastDate = new Date(ms).toISOString().slice(0, -"00:00:00.000Z".length);
    lastDay = day;
  }
  const rest = ms - day * DAY;
  const [hours, minutes] = [Math.floor(rest / HOUR), Math.floor((rest % HOUR) / MINUTE)];
  const seconds = Math.floor((rest % MINUTE) / SECOND);
  return `${lastDate}${two(hours)}:${two(minutes)}:${two(seconds)}.${three(rest % SECOND)}Z`;
}
