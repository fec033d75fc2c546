// The range page: jumps in a film, and shows what the server answers to Range fields.

const film = document.getElementById("film");
const shown = document.getElementById("shown");
const answers = document.getElementById("answers");

// The colour of the bar at the top of the frame that is shown.
function colour() {
  const canvas = document.createElement("canvas");
  canvas.width = film.videoWidth;
  canvas.height = film.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(film, 0, 0);
  const [red, green, blue] = context.getImageData(10, 10, 1, 1).data.map((value) => (value > 127 ? 1 : 0));
  return { "1,0,0": "red", "0,1,0": "green", "0,0,1": "blue", "1,1,1": "white" }[[red, green, blue]] ?? "another colour";
}

// Called for each frame that is shown, which after a jump is none before its end.
function tell() {
  shown.textContent = `${film.currentTime.toFixed(0)} s: ${colour()}`;
  film.requestVideoFrameCallback(tell);
}

film.requestVideoFrameCallback(tell);

for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    film.currentTime = Number(button.dataset.second);
  });
}

async function ask(range) {
  const response = await fetch(film.src, { headers: { Range: range }, cache: "no-store" });
  const size = (await response.arrayBuffer()).byteLength;
  const said = response.headers.get("Content-Range") ?? response.headers.get("Content-Type");
  const row = answers.insertRow();
  for (const text of [range, response.status, said, size]) {
    row.insertCell().textContent = text;
  }
}

async function askAll() {
  for (const range of ["bytes=0-0", "bytes=100-199", "bytes=-500", "bytes=0-0,-1", "bytes=99999999-", "bytes=b-a"]) {
    await ask(range);
  }
}

askAll();

// "range.html#17" begins there.
if (location.hash) {
  film.addEventListener("loadedmetadata", () => {
    film.currentTime = Number(location.hash.slice(1));
  });
}
