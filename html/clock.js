// The live clock: asks ctime.py for the server's time, one second after the last answer.

const clock = document.getElementById("clock");

async function serverTime() {
  const response = await fetch("/ctime.py", { cache: "no-store", signal: AbortSignal.timeout(5000) });
  const type = response.headers.get("Content-Type") ?? "";
  // A server that does not run scripts may answer with an error page, or with the script's source.
  if (!response.ok || !type.startsWith("text/plain")) {
    throw new Error(`/ctime.py: ${response.status} ${type}`);
  }
  return (await response.text()).trim();
}

async function tick() {
  let pause = 1000; // milliseconds
  if (!document.hidden) {
    try {
      clock.textContent = await serverTime();
    } catch {
      clock.textContent = "The clock is waiting for /ctime.py.";
      pause = 10000;
    }
  }
  setTimeout(tick, pause);
}

tick();
