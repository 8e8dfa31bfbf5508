"use strict";
const find = id => document.getElementById(id);
const login = find("login"), chat = find("chat"), said = find("said"), say = find("say");
const state = chat.querySelector(".state");

let me = "", rooms = [], room = "";
let socket, again, tries = 0, last = 0; // last is the newest message that is shown

// begin shows the chat to who has a session, and asks the others who they are.
async function begin() {
	const session = await (await fetch("session")).json();
	me = session.Name;
	rooms = session.Rooms;
	login.hidden = me !== "";
	chat.hidden = me === "";
	if (me) enter();
	else login.elements.name.focus();
}

login.onsubmit = async event => {
	event.preventDefault();
	const reply = await fetch("session", { method: "POST", body: new URLSearchParams(new FormData(login)) });
	login.querySelector(".notice").textContent = reply.ok ? "" : await reply.text();
	if (reply.ok) begin();
};

find("leave").onclick = async () => {
	hangUp();
	await fetch("session", { method: "DELETE" });
	begin();
};

// enter goes to the room that the address names, or to the first.
function enter() {
	const wanted = decodeURIComponent(location.hash.slice(1));
	room = rooms.includes(wanted) ? wanted : rooms[0];
	find("chat").querySelector("nav").replaceChildren(...rooms.map(name => {
		const link = document.createElement("a");
		link.href = "#" + name;
		link.textContent = name;
		if (name === room) link.setAttribute("aria-current", "page");
		return link;
	}));
	said.replaceChildren();
	find("people").replaceChildren();
	last = tries = 0;
	connect();
}
window.onhashchange = () => { if (me) enter(); };

function hangUp() {
	clearTimeout(again);
	if (socket) socket.onclose = null;
	if (socket) socket.close();
}

function connect() {
	hangUp();
	become("connecting", "");
	const opened = socket = new WebSocket(new URL("rooms/" + encodeURIComponent(room), location.href.replace(/^http/, "ws").replace(/#.*/, "")));
	opened.onopen = () => { tries = 0; become(me, "open"); say.elements.text.focus(); };
	opened.onmessage = event => take(JSON.parse(event.data));
	opened.onclose = () => {
		if (tries++ === 1) begin(); // perhaps the session is over
		const wait = Math.min(30, 2 ** (tries - 1)) * (.5 + Math.random() / 2); // not all come back at once
		become("away, back soon", "");
		again = setTimeout(connect, wait * 1000);
	};
}
window.ononline = () => { if (me && socket.readyState > WebSocket.OPEN) connect(); };

function become(text, kind) {
	state.textContent = text;
	state.className = "state " + kind;
	say.querySelector("button").disabled = kind !== "open";
}

// take shows what has changed.
function take({ People, Messages, Notice }) {
	if (People) find("people").replaceChildren(...People.map(name => hued(document.createElement("li"), name)));
	const atEnd = said.scrollHeight - said.scrollTop - said.clientHeight < 40;
	for (const message of Messages || []) if (message.ID > last) show(message);
	if (atEnd) said.scrollTop = said.scrollHeight;
	say.querySelector(".notice").textContent = Notice || "";
	if (Notice && !say.elements.text.value) say.elements.text.value = sent;
}

function show({ ID, Name, Text }) {
	const item = document.createElement("li"), before = said.lastElementChild;
	const text = document.createElement("div"), by = document.createElement("small");
	const time = new Date(ID).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
	by.append(hued(document.createElement("b"), Name), " " + time);
	text.textContent = Text;
	item.append(by, text);
	item.dataset.name = Name;
	if (!before || before.dataset.name !== Name || ID - last > 300000) item.classList.add("first");
	if (Name === me) item.classList.add("mine");
	last = ID;
	said.append(item);
}

// hued writes a name in a color of its own.
function hued(element, name) {
	let hue = 0;
	for (const c of name) hue = (hue * 31 + c.codePointAt(0)) % 360;
	element.style.setProperty("--hue", hue);
	element.textContent = name;
	return element;
}

let sent = "";
say.onsubmit = event => {
	event.preventDefault();
	const text = say.elements.text.value.trim();
	if (!text || socket.readyState !== WebSocket.OPEN) return;
	socket.send(sent = text);
	say.elements.text.value = "";
	said.scrollTop = said.scrollHeight;
};

begin();
